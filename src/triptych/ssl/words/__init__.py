"""Titles, figures and claims of the study of SimSiam and competing methods."""
