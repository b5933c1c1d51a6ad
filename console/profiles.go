package console

func (h *Handler) profileRoutes() map[string]route { return nil }
