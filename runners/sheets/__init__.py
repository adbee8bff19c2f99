"""Sheets: several images on one picture, with words around them, and films of sheets."""
