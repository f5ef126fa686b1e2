"""Rating prediction (Llama4Rec 4.4.1, 5.1.4): how many stars a user would give an item."""
