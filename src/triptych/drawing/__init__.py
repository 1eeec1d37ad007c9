"""How figures look: style, sheets of images, curves and bars. No study is named here."""
