package console

// Stale says that something was changed, as the pages that change something do.
func (h *Handler) Stale() { h.survey.stale() }
