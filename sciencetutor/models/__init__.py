"""Which model, how it is loaded and saved, and how likely it finds a reply.

Nothing is imported before it is asked for, so that a light part of the package stays light.
"""
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={
    'core': ['load_model', 'resolve_model', 'save_model'],
    'scoring': ['answer_scores', 'question_item', 'score_choices'],
    'knn': ['load_index', 'make_index', 'save_index'],
})
