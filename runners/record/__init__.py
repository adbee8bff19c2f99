"""Records on disk: recipes, run folders, image folders, sweep folders."""
