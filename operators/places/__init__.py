"""Where in a text the place is for which an operator drops it, for the few documents that a person looks at.

Plain Python on one text at a time, bounded; what counts is what the kernels count, and tests hold the two together.
"""

from operators.places.explaining import explanation
from operators.places.finding import FindPlaces, open_places
from operators.places.place import MOST_CHARS, MOST_PLACES, Place

__all__ = ["MOST_CHARS", "MOST_PLACES", "FindPlaces", "Place", "explanation", "open_places"]
