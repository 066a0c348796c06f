"""The Keras side: model files, local training, evaluation. TensorFlow is imported inside functions only."""
