"""What the methods that compare views share: views, networks, the layers of a variant's recipe."""
