"""What comes from users, checked: conversions of X, times, numbers that are out of range."""
