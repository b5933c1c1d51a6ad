package console

func (h *Handler) grantRoutes() map[string]route { return nil }
