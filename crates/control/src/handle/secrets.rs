//! Secrets: values go in and never come out.

use super::Handle;
use crate::api::{Failure, SecretList, SecretStored};
use crate::secret::{Retire, SecretValue};

impl Handle {
    /// Keeps a new version of a secret.
    ///
    /// # Errors
    ///
    /// [`Code::Invalid`] when name or value break the rules.
    pub async fn set_secret(
        &self,
        (name, value): (String, SecretValue),
        retire: Retire,
        actor: String,
    ) -> Result<SecretStored, Failure> {
        self.ask(move |shell| {
            let result = shell.set_secret(&name, &value, retire);
            let flag = match retire {
                Retire::None => "",
                Retire::Older => " --retire",
            };
            shell.audit(&actor, &format!("secret set {name}{flag}"), &result);
            result
        })
        .await?
    }

    /// The secrets, without values.
    ///
    /// # Errors
    ///
    /// When the database cannot be read.
    pub async fn secrets(&self) -> Result<SecretList, Failure> {
        self.ask(|shell| shell.secret_list()).await?
    }

    /// Removes a secret.
    ///
    /// # Errors
    ///
    /// [`Code::NotFound`]; [`Code::Refused`] while a release in use needs it.
    pub async fn remove_secret(&self, name: String, actor: String) -> Result<(), Failure> {
        self.ask(move |shell| {
            let result = shell.remove_secret(&name);
            shell.audit(&actor, &format!("secret rm {name}"), &result);
            result
        })
        .await?
    }
}
