"""From an open model to images: the walk, the noise, the images, their recipe."""
