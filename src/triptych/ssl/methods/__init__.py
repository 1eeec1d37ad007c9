"""Self-supervised learning methods. Each module contains the settings and the loss of one method."""
