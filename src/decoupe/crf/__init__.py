"""Dense CRF post-processing: sharpen class probabilities along the edges of their photo. Usable on its own."""

from decoupe.crf.inference import dense_crf
from decoupe.crf.learning import Fitted, fit_parameters
from decoupe.crf.regions import sharpen
from decoupe.crf.settings import PRESETS, Settings

__all__ = ["PRESETS", "Fitted", "Settings", "dense_crf", "fit_parameters", "sharpen"]
