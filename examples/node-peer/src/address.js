// Addresses as the server tells them: seen from the URL by which it was reached, with a slash at its end.

/** The address as a URL. Throws for what is none. */
export const resolve = (server, address) => new URL(address, `${server.replace(/\/$/, '')}/`)
