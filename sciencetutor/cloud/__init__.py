"""Training, pipelines and a GPU machine in Google Cloud.

Nothing is imported before it is asked for, so that a light part of the package stays light.
"""
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={
    'core': ['run_cancel', 'run_logs', 'run_status'],
    'vertex': ['run_cloud_train'],
    'pipeline': ['run_pipeline'],
    'vm': ['run_deploy'],
    'builds': ['run_images'],
    'gcp': ['run_doctor'],
})
