"""The comparison of a champion and a challenger: what differs in their answers to one request."""
