package console

func (h *Handler) overviewRoutes() map[string]route { return nil }
