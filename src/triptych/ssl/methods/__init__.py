"""Self-supervised methods. Each module contains the settings schema and the loss of one method."""
