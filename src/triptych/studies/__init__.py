"""One record a study, without torch: its metrics, figures and claims."""
