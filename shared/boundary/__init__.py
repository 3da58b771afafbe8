"""The function boundary's task, model and training: what the organ answers by, and what trainers and evaluators use."""
