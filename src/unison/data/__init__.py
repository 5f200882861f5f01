"""From a prepared corpus to batches: manifest, dataset, sampler, batching, datamodule."""
