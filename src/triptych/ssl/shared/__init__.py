"""Views, networks and recipes that the methods share."""
