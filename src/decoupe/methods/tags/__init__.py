"""The room `tags`: named masks from image tags (classifier, Grad-CAM, SEC, dense CRF)."""
