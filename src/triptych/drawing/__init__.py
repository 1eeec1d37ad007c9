"""How figures look: sheets of images, curves, panels, bars and comparisons, whatever they show."""
