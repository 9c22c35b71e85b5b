// Which page is shown: the sign-in, or the board of whoever is signed in.

import { useEffect, useState } from "preact/hooks";

import type { Session } from "../contract.ts";
import { forgetToken, readSession, storedToken } from "../session.ts";
import { language, speak, strings } from "../strings/index.ts";
import { LANGUAGE_CHOSEN } from "./choices.tsx";
import { SignedIn } from "./signed-in.tsx";
import { SignIn } from "./signin.tsx";

const RETRY_MS = 2000;

/** Draws the whole page anew in another language, once that is loaded. */
function useLanguage(): string {
  const [drawn, setDrawn] = useState(language);
  useEffect(() => {
    const chosen = (event: Event) => {
      void speak((event as CustomEvent<string>).detail).then(() => setDrawn(language));
    };
    addEventListener(LANGUAGE_CHOSEN, chosen);
    return () => removeEventListener(LANGUAGE_CHOSEN, chosen);
  }, []);
  return drawn;
}

export function App() {
  const spoken = useLanguage();
  const [token, setToken] = useState(storedToken);
  const [session, setSession] = useState<Session | null>(null);
  const [notice, setNotice] = useState("");

  const leave = (why: string) => {
    forgetToken();
    setSession(null);
    setToken(null);
    setNotice(why);
  };

  useEffect(() => {
    if (token === null) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const ask = () => {
      readSession(token).then(
        (found) => (found === null ? leave(strings.sessionEnded) : setSession(found)),
        () => {
          timer = setTimeout(ask, RETRY_MS);
        },
      );
    };
    ask();
    return () => clearTimeout(timer);
  }, [token]);

  if (token === null) {
    return (
      <SignIn
        key={spoken}
        notice={notice}
        signedIn={(given) => {
          setNotice("");
          setToken(given);
        }}
      />
    );
  }
  if (session === null) {
    return (
      <p class="loading" role="status">
        {strings.connecting}
      </p>
    );
  }
  const refused = (status: number) => leave(status === 403 ? strings.wrongWorkspace : strings.sessionEnded);
  return <SignedIn key={spoken} token={token} session={session} refused={refused} signOut={() => leave("")} />;
}
