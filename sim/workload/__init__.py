"""The drawn query stream: arrivals, sizes, service quantiles, traces."""
