"""What archived exposures and events tell: clicks per exposure, and what others would have got."""
