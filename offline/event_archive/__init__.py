"""Events that services accepted, as Parquet files by day."""
