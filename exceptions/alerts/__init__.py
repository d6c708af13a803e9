"""Alerts: cases that fail alike are one alert; told to whom it concerns, when they want, with an all-clear."""
