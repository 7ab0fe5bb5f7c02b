// What one signs in with: a one-time code, a token, or the secret of a share link.

/** Each stands behind `#` in an address, as `#code=…`, `#token=…` or `#share=…`. */
export interface Credential {
  kind: "code" | "token" | "share";
  secret: string;
}

/** The credential in an address, or in its part behind `#`; null if there is none. */
export function credentialInAddress(text: string): Credential | null {
  const [, kind, secret] = /[#&](code|token|share)=([^&\s]*)/.exec(text) ?? [];
  return kind === undefined || secret === undefined ? null : { kind: kind as Credential["kind"], secret };
}

/** What somebody typed or pasted: an address, or a token. */
export function credentialIn(text: string): Credential {
  return credentialInAddress(text) ?? { kind: "token", secret: text.trim() };
}

/** Why a credential was refused, and what to do. */
export function refusalText({ kind }: Credential): string {
  switch (kind) {
    case "code":
      return "This address was used already, or is older than ten minutes. Run “stayd url” to get a new one.";
    case "share":
      return "This link has ended. Ask whoever shared it for a new one.";
    case "token":
      return "This token is not valid, or no longer. Run “stayd url” to get an address that signs in.";
  }
}
