"""What is kept on disk: run folders, image folders, sweep folders."""
