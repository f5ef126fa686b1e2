"""From archived events to a version that answers: train, compare, publish, try, promote."""
