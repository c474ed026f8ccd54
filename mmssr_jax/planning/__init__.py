"""What a run will cost before it is started: time, memory and storage of its stages on given devices."""
