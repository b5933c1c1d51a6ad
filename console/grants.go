package console

func (h *Handler) grantRoutes() map[string]route {
	return map[string]route{"connect": {post: h.connect}}
}
