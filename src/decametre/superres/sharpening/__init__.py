"""The main job: one product in, all bands at ten metres out."""
