"""The learning rate that is found from the data."""
