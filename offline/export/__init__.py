"""From a trained model to files a service can run without torch, checked against torch."""
