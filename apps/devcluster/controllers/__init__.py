"""Control loops: each is an ordinary client of the API that moves the world towards what objects say."""
