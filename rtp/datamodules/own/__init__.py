"""Data sets of the user's: folders of images, Hugging Face, torch data sets."""
