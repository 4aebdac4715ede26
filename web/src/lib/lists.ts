/** Names that are written with commas between them. */
export const names = (text: string) => text.split(',').map((s) => s.trim()).filter(Boolean)
