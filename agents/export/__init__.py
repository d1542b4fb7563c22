"""Policies as ONNX bundles: written, checked, and run."""
