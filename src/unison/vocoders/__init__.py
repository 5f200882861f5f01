"""Mel to waveform.

Every vocoder is a module called with the log mel [B, n_mels, F] and, if items are padded, lengths [B] in
frames. It returns [B, 1, F * hop_length]; an item of a padded batch gets what it gets alone, zeros beyond.
"""
