"""The buckets in which durations are counted: fixed, so that any two histograms can be summed. Pure."""

# Seconds; the last bucket holds what took longer. A service level's time is one of these, so its share is exact.
BOUNDS = (0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400, 28800, 86400, 259200)

# In which the ages of what is still open are counted: by the seconds of every time that a service level may name, then
# by the hour, so that it's known within an hour when something became late. What is older than 30 days has no bucket.
_HOUR = 3600
AGES = (1, 5, 10, 30, 60, 300, 900, *(hours * _HOUR for hours in (*range(1, 100), 120, 240, 720)))
