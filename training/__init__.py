"""How the shipped model is made: data, training, evaluation."""
