"""The room `scene_vae`: one latent space for image, tags and mask."""
