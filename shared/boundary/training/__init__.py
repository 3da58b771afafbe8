"""Training the boundary's model from decision trails: needs the extra `train`, and repeats itself byte for byte."""
