def load_foreign(n, sd, layout='ddim'): n.load_state_dict(sd)
