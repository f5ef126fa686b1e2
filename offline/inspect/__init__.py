"""What was understood of a data set, before anything is trained with it: `longtail inspect`."""
