"""What a sample of rows says of a problem: curvature, losses, weights; and its objective."""
