"""The store on disk: images and their names, layers, views, locks."""
