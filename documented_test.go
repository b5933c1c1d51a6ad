package authprofile_test

import "time"

// documentedProviders are the providers of the second tier, as their documentation
// has them.
var documentedProviders = []documentedProvider{{
	template: "adobe", discovery: "https://ims-na1.adobelogin.com/ims/.well-known/openid-configuration", issuer: "https://ims-na1.adobelogin.com",
	isApp: true,
	auth:  "https://ims-na1.adobelogin.com/ims/authorize/v2", token: "https://ims-na1.adobelogin.com/ims/token/v3", by: "basic",
	scope: "read,write,offline_access", account: "https://ims-na1.adobelogin.com/ims/userinfo/v2", whoami: `{"sub":"A1@AdobeID","name":"Ada"}`, name: "Ada",
	revocation: "https://ims-na1.adobelogin.com/ims/revoke", revokes: both("POST basic form "),
}, {
	template: "amazon-sp/sellercentral.amazon.de/amzn1.sellerapps.app.0bf296b5-EXAMPLE",
	isApp:    true,
	auth:     "https://sellercentral.amazon.de/apps/authorize/consent", token: "https://api.amazon.com/auth/o2/token", by: "post", noPKCE: true,
	ask: "application_id=amzn1.sellerapps.app.0bf296b5-EXAMPLE", code: "spapi_oauth_code", callback: "code=&spapi_oauth_code=SENTINEL-spapi&selling_partner_id=A3F",
	kept: "selling_partner_id=A3F",
}, {
	template: "asana", discovery: "https://app.asana.com/api/1.0/.well-known/openid-configuration", issuer: "https://app.asana.com/api/1.0",
	auth: "https://app.asana.com/-/oauth_authorize", token: "https://app.asana.com/-/oauth_token", by: "post", scope: "openid",
	answer: `{"access_token":"access-1","refresh_token":"refresh-1","expires_in":3600,"token_type":"bearer","id_token":"{id_token}","data":{"id":1,"gid":"1","email":"a@example.com"}}`,
	kept:   "data.gid=1&data.email=a@example.com", account: "https://app.asana.com/api/1.0/users/me", whoami: `{"data":{"gid":"1","name":"Ada"}}`, name: "Ada",
	revocation: "https://app.asana.com/-/oauth_revoke", revokes: []string{"POST post form " + inBody + revokeRefresh},
}, {
	template: "azure-devops/contoso.com", discovery: "https://login.microsoftonline.com/contoso.com/v2.0/.well-known/openid-configuration",
	ends:   90 * day,
	isApp:  true,
	issuer: "https://login.microsoftonline.com/" + tenantGUID + "/v2.0", auth: "https://login.microsoftonline.com/contoso.com/oauth2/v2.0/authorize",
	token: "https://login.microsoftonline.com/contoso.com/oauth2/v2.0/token", by: "post", scope: "read write offline_access", renew: "scope=read write offline_access",
	account: "https://app.vssps.visualstudio.com/_apis/profile/profiles/me", whoami: `{"id":"u-1","displayName":"Ada"}`, name: "Ada",
	dead: `400 {"error":"interaction_required","error_codes":[50076]}`, unavailable: `400 {"error":"invalid_grant","error_codes":[50196]}`,
}, {
	template: "basecamp", auth: "https://launchpad.37signals.com/authorization/new", token: "https://launchpad.37signals.com/authorization/token", by: "post",
	ask: "type=web_server", exchange: "type=web_server", renew: "type=refresh&redirect_uri=" + scriptedCallback,
	answer:  `{"access_token":"access-1","refresh_token":"refresh-1","expires_in":1209600}`,
	life:    14 * day,
	account: "https://launchpad.37signals.com/authorization.json", whoami: `{"identity":{"id":9,"email_address":"ada@example.com"}}`, name: "ada@example.com",
}, {
	template: "calendly", auth: "https://auth.calendly.com/oauth/authorize", token: "https://auth.calendly.com/oauth/token", by: "basic", scope: "read write",
	answer: `{"access_token":"access-1","refresh_token":"refresh-1","expires_in":7200,"token_type":"Bearer","owner":"https://api.calendly.com/users/A","organization":"https://api.calendly.com/organizations/O","created_at":1}`,
	life:   2 * time.Hour, kept: "owner=https://api.calendly.com/users/A&organization=https://api.calendly.com/organizations/O",
	account: "https://api.calendly.com/users/me", whoami: `{"resource":{"uri":"https://api.calendly.com/users/A","name":"Ada"}}`, name: "Ada",
	revocation: "https://auth.calendly.com/oauth/revoke", revokes: both("POST post form " + inBody),
}, {
	template: "canva", auth: "https://www.canva.com/api/oauth/authorize", token: "https://api.canva.com/rest/v1/oauth/token", by: "basic", scope: "read write",
	account: "https://api.canva.com/rest/v1/users/me", whoami: `{"team_user":{"user_id":"u","team_id":"t"}}`, name: "t",
	revocation: "https://api.canva.com/rest/v1/oauth/revoke", revokes: []string{"POST basic form " + revokeRefresh},
	dead: `400 {"code":"invalid_grant","message":"no"}`,
}, {
	template: "clickup", auth: "https://app.clickup.com/api", token: "https://api.clickup.com/api/v2/oauth/token", by: "post",
	answer: `{"access_token":"access-1"}`, life: -1, noRenewal: true,
	account: "https://api.clickup.com/api/v2/user", whoami: `{"user":{"id":1,"username":"Ada"}}`, name: "Ada",
}, {
	template: "discord", auth: "https://discord.com/oauth2/authorize", token: "https://discord.com/api/oauth2/token", by: "basic", scope: "read write",
	isApp:    true,
	callback: "guild_id=7&permissions=8", kept: "guild_id=7&permissions=8&guild.id=7&webhook.url=https://discord.com/w",
	answer:  `{"access_token":"access-1","refresh_token":"refresh-1","expires_in":604800,"token_type":"Bearer","guild":{"id":"7"},"webhook":{"id":"w","url":"https://discord.com/w"}}`,
	life:    7 * day,
	account: "https://discord.com/api/users/@me", whoami: `{"id":"80351110224678912","username":"ada"}`, name: "ada",
	revocation: "https://discord.com/api/oauth2/token/revoke", revokes: both("POST basic form "),
}, {
	template: "ebay/Acme_Ltd-AcmeApp-PRD-a1b2c3", auth: "https://auth.ebay.com/oauth2/authorize", token: "https://api.ebay.com/identity/v1/oauth2/token", by: "basic",
	isApp: true,
	scope: "read write", redirectURI: "Acme_Ltd-AcmeApp-PRD-a1b2c3", callback: "expires_in=299", renew: "scope=read write",
	answer:  `{"access_token":"access-1","refresh_token":"refresh-1","expires_in":7200,"refresh_token_expires_in":47304000,"token_type":"User Access Token"}`,
	life:    2 * time.Hour,
	account: "https://apiz.ebay.com/commerce/identity/v1/user/", whoami: `{"userId":"u","username":"ada"}`, name: "ada",
}, {
	template: "facebook", auth: "https://www.facebook.com/v22.0/dialog/oauth", token: "https://graph.facebook.com/v22.0/oauth/access_token", by: "post", scope: "read,write",
	isApp:  true,
	answer: `{"access_token":"access-1","token_type":"bearer","expires_in":5184000}`, life: 60 * day,
	renew:   "grant_type=fb_exchange_token&fb_exchange_token=access-1",
	account: "https://graph.facebook.com/v22.0/me", whoami: `{"id":"1","name":"Ada"}`, name: "Ada",
	dead:        `400 {"error":{"message":"no","type":"OAuthException","code":190,"error_subcode":463}}`,
	unavailable: `400 {"error":{"message":"no","type":"OAuthException","code":17}}`,
}, {
	template: "figma", auth: "https://www.figma.com/oauth", token: "https://api.figma.com/v1/oauth/token", renewal: "https://api.figma.com/v1/oauth/refresh", by: "basic", scope: "read,write",
	answer: `{"access_token":"access-1","refresh_token":"refresh-1","expires_in":7776000,"token_type":"bearer","user_id_string":"42"}`, life: 90 * day, kept: "user_id_string=42",
	account: "https://api.figma.com/v1/me", whoami: `{"id":"42","handle":"ada"}`, name: "ada",
}, {
	template: "freshbooks", auth: "https://auth.freshbooks.com/oauth/authorize", token: "https://api.freshbooks.com/auth/oauth/token", by: "post", json: true, scope: "read write",
	renew:  "redirect_uri=" + scriptedCallback,
	answer: `{"access_token":"access-1","refresh_token":"refresh-1","expires_in":43200,"token_type":"Bearer","created_at":1,"direct_buy_tokens":{}}`, life: 12 * time.Hour, kept: "direct_buy_tokens={}",
	account: "https://api.freshbooks.com/auth/api/v1/users/me", whoami: `{"response":{"id":1,"email":"ada@example.com"}}`, name: "ada@example.com",
}, {
	template: "gitea", discovery: "https://gitea.com/.well-known/openid-configuration", issuer: "https://gitea.com/",
	refused: `401 {"error":"unauthorized_client"}`,
	auth:    "https://gitea.com/login/oauth/authorize", token: "https://gitea.com/login/oauth/access_token", by: "basic", scope: "read write",
	account: "https://gitea.com/api/v1/user", whoami: `{"id":1,"login":"ada"}`, name: "ada",
}, {
	template: "gong", auth: "https://app.gong.io/oauth2/authorize", token: "https://app.gong.io/oauth2/generate-customer-token", by: "basic", noPKCE: true, scope: "read write", ask: "access_type=offline",
	answer: `{"access_token":"access-1","refresh_token":"refresh-1","expires_in":86400,"token_type":"bearer","api_base_url_for_customer":"https://company-17.api.gong.io"}`,
	life:   day, kept: "api_base_url_for_customer=https://company-17.api.gong.io",
}, {
	template: "instagram", auth: "https://www.instagram.com/oauth/authorize", token: "https://api.instagram.com/oauth/access_token", by: "post", scope: "read,write",
	answer: `{"data":[{"access_token":"access-1","user_id":"1020","permissions":"read"}]}`, life: -1, noRenewal: true, kept: "data.user_id=1020",
	account: "https://graph.instagram.com/me", whoami: `{"user_id":"1020","username":"ada"}`, name: "ada",
}, {
	template: "intercom/eu", auth: "https://app.eu.intercom.com/oauth", token: "https://api.eu.intercom.io/auth/eagle/token", by: "post",
	answer: `{"token":"access-1","access_token":"access-1","token_type":"Bearer"}`, life: -1, noRenewal: true,
	account: "https://api.eu.intercom.io/me", whoami: `{"id":"1","name":"Ada","app":{"id_code":"x"}}`, name: "Ada",
	revocation: "https://api.eu.intercom.io/auth/uninstall", revokes: []string{"POST Bearer access-2 JSON"},
}, {
	template: "klaviyo", auth: "https://www.klaviyo.com/oauth/authorize", token: "https://a.klaviyo.com/oauth/token", by: "basic", scope: "read write",
	revocation: "https://a.klaviyo.com/oauth/revoke", revokes: both("POST basic form "),
}, {
	template: "mailchimp", auth: "https://login.mailchimp.com/oauth2/authorize", token: "https://login.mailchimp.com/oauth2/token", by: "post",
	answer: `{"access_token":"access-1","expires_in":0,"scope":null}`, life: -1, noRenewal: true,
	account: "https://login.mailchimp.com/oauth2/metadata", whoami: `{"dc":"us6","user_id":1,"accountname":"Acme"}`, name: "Acme",
}, {
	template: "microsoft-b2c/contoso/B2C_1_signin", discovery: "https://contoso.b2clogin.com/contoso.onmicrosoft.com/B2C_1_signin/v2.0/.well-known/openid-configuration",
	issuer: "https://contoso.b2clogin.com/" + tenantGUID + "/v2.0/", auth: "https://contoso.b2clogin.com/contoso.onmicrosoft.com/b2c_1_signin/oauth2/v2.0/authorize",
	token: "https://contoso.b2clogin.com/contoso.onmicrosoft.com/b2c_1_signin/oauth2/v2.0/token", by: "post", scope: "read write offline_access", renew: "scope=read write offline_access",
}, {
	template: "miro", auth: "https://miro.com/oauth/authorize", token: "https://api.miro.com/v1/oauth/token", by: "post",
	answer: `{"access_token":"access-1","refresh_token":"refresh-1","expires_in":3599,"token_type":"bearer","user_id":"u","team_id":"t"}`, life: 3599 * time.Second, kept: "user_id=u&team_id=t",
	revocation: "https://api.miro.com/v2/oauth/revoke", revokes: []string{"POST none JSON accessToken=access-2&clientId=client-1&clientSecret=" + scriptedSecret},
}, {
	template: "monday", auth: "https://auth.monday.com/oauth2/authorize", token: "https://auth.monday.com/oauth_ms/oauth/token", by: "post", scope: "read write",
	isApp:  true,
	answer: `{"access_token":"{jwt}","refresh_token":"refresh-1","token_type":"Bearer"}`, life: 2 * time.Hour,
	account: "https://api.monday.com/v2", whoami: `{"data":{"me":{"id":"7","name":"Ada"}}}`, name: "Ada",
	revocation: "https://auth.monday.com/oauth_ms/oauth/revoke", revokes: both("POST post form " + inBody),
}, {
	template: "netsuite/tstdrv231585", auth: "https://tstdrv231585.app.netsuite.com/app/login/oauth2/authorize.nl",
	token: "https://tstdrv231585.suitetalk.api.netsuite.com/services/rest/auth/oauth2/v1/token", by: "basic", scope: "read write",
	callback: "company=TSTDRV231585&role=3&entity=12", kept: "company=TSTDRV231585&role=3&entity=12",
	answer:     `{"access_token":"access-1","refresh_token":"refresh-1","expires_in":"3600","token_type":"bearer"}`,
	revocation: "https://tstdrv231585.suitetalk.api.netsuite.com/services/rest/auth/oauth2/v1/revoke", revokes: []string{"POST basic form " + revokeRefresh},
}, {
	template: "outreach", auth: "https://api.outreach.io/oauth/authorize", token: "https://api.outreach.io/oauth/token", by: "post", scope: "read write",
	answer: `{"access_token":"access-1","refresh_token":"refresh-1","expires_in":7200,"token_type":"bearer","created_at":1}`, life: 2 * time.Hour, kept: "created_at=1",
}, {
	template: "paypal/sandbox", auth: "https://www.sandbox.paypal.com/signin/authorize", token: "https://api-m.sandbox.paypal.com/v1/oauth2/token", by: "basic", scope: "openid",
	isApp:  true,
	answer: `{"access_token":"access-1","refresh_token":"refresh-1","expires_in":"28800","token_type":"Bearer","nonce":"n","app_id":"APP-1"}`, life: 8 * time.Hour, kept: "app_id=APP-1&nonce=n",
	account: "https://api-m.sandbox.paypal.com/v1/identity/oauth2/userinfo", whoami: `{"user_id":"u","name":"Ada"}`, name: "Ada",
	dead: `400 {"error":"invalid_refresh_token"}`,
}, {
	template: "pinterest", auth: "https://www.pinterest.com/oauth/", token: "https://api.pinterest.com/v5/oauth/token", by: "basic", scope: "read,write", exchange: "continuous_refresh=true",
	isApp:  true,
	answer: `{"access_token":"access-1","refresh_token":"refresh-1","response_type":"authorization_code","expires_in":"2592000","refresh_token_expires_in":5184000,"token_type":"bearer"}`, life: 30 * day,
	account: "https://api.pinterest.com/v5/user_account", whoami: `{"username":"ada"}`, name: "ada", refused: `401 {"code":283,"message":"no"}`,
}, {
	template: "pipedrive", auth: "https://oauth.pipedrive.com/oauth/authorize", token: "https://oauth.pipedrive.com/oauth/token", by: "basic", noPKCE: true,
	ends: 60 * day, denied: "user_denied",
	answer: `{"access_token":"access-1","refresh_token":"refresh-1","expires_in":3599,"token_type":"Bearer","scope":"base,deals:read","api_domain":"https://acme.pipedrive.com"}`,
	life:   3599 * time.Second, granted: "base deals:read", kept: "api_domain=https://acme.pipedrive.com",
	account: "https://acme.pipedrive.com/api/v1/users/me", whoami: `{"success":true,"data":{"id":1,"name":"Ada"}}`, name: "Ada",
	revocation: "https://oauth.pipedrive.com/oauth/revoke", revokes: []string{"POST basic form " + revokeRefresh},
}, {
	template: "reddit", auth: "https://www.reddit.com/api/v1/authorize", token: "https://www.reddit.com/api/v1/access_token", by: "basic", scope: "read write", ask: "duration=permanent",
	isApp:   true,
	account: "https://oauth.reddit.com/api/v1/me", whoami: `{"id":"abc","name":"ada"}`, name: "ada",
	revocation: "https://www.reddit.com/api/v1/revoke_token", revokes: both("POST basic form "),
}, {
	template: "ringcentral", auth: "https://platform.ringcentral.com/restapi/oauth/authorize", token: "https://platform.ringcentral.com/restapi/oauth/token", by: "basic",
	isApp:  true,
	answer: `{"access_token":"access-1","refresh_token":"refresh-1","expires_in":3600,"refresh_token_expires_in":604800,"token_type":"bearer","owner_id":"o","endpoint_id":"e"}`, kept: "owner_id=o&endpoint_id=e",
	revocation: "https://platform.ringcentral.com/restapi/oauth/revoke", revokes: both("POST basic form "),
}, {
	template: "salesloft", auth: "https://accounts.salesloft.com/oauth/authorize", token: "https://accounts.salesloft.com/oauth/token", by: "post", callback: "context=x&scope=read",
	isApp:   true,
	account: "https://api.salesloft.com/v2/me", whoami: `{"data":{"id":1,"name":"Ada"}}`, name: "Ada",
}, {
	template: "slack-user", auth: "https://slack.com/oauth/v2_user/authorize", token: "https://slack.com/api/oauth.v2.user.access", by: "post", scope: "read,write",
	answer: `{"ok":true,"access_token":"access-1","refresh_token":"refresh-1","expires_in":43200,"token_type":"user","scope":"read,write","team":{"id":"T1","name":"Acme"},"authed_user":{"id":"U1"}}`,
	life:   12 * time.Hour, granted: "read write", kept: "team.id=T1&team.name=Acme&authed_user.id=U1",
	account: "https://slack.com/api/auth.test", whoami: `{"ok":true,"user":"ada","user_id":"U1","team_id":"T1"}`, name: "ada",
	revocation: "https://slack.com/api/auth.revoke", revokes: []string{"POST Bearer access-2 nothing"},
	dead: `200 {"ok":false,"error":"account_inactive"}`, unavailable: `200 {"ok":false,"error":"internal_error"}`,
}, {
	template: "smartsheet/eu", auth: "https://app.smartsheet.eu/b/authorize", token: "https://api.smartsheet.eu/2.0/token", by: "post", scope: "read write", callback: "expires_in=599&region=EU", kept: "region=EU",
	account: "https://api.smartsheet.eu/2.0/users/me", whoami: `{"id":1,"email":"ada@example.com"}`, name: "ada@example.com",
}, {
	template: "spotify", auth: "https://accounts.spotify.com/authorize", token: "https://accounts.spotify.com/api/token", by: "basic", scope: "read write",
	ends:    183 * day,
	isApp:   true,
	account: "https://api.spotify.com/v1/me", whoami: `{"id":"ada1","display_name":"Ada"}`, name: "Ada",
}, {
	template: "square/connect.squareupsandbox.com", auth: "https://connect.squareupsandbox.com/oauth2/authorize", token: "https://connect.squareupsandbox.com/oauth2/token", by: "post", json: true, noPKCE: true, scope: "read write",
	answer: `{"access_token":"access-1","refresh_token":"refresh-1","token_type":"bearer","expires_at":"2000-01-31T00:00:00Z","merchant_id":"M"}`, life: 30 * day, kept: "merchant_id=M",
	revocation: "https://connect.squareupsandbox.com/oauth2/revoke", revokes: []string{"POST Client " + scriptedSecret + " JSON access_token=access-2&client_id=client-1"},
	dead: `401 {"errors":[{"category":"AUTHENTICATION_ERROR","code":"ACCESS_TOKEN_REVOKED"}]}`,
}, {
	template: "strava", auth: "https://www.strava.com/oauth/authorize", token: "https://www.strava.com/oauth/token", by: "post", scope: "read,write", callback: "scope=read,activity:read", granted: "read activity:read",
	answer: `{"token_type":"Bearer","expires_at":946706400,"expires_in":21600,"refresh_token":"refresh-1","access_token":"access-1","athlete":{"id":134815}}`, life: 6 * time.Hour, kept: "athlete.id=134815&scope=read,activity:read",
	account: "https://www.strava.com/api/v3/athlete", whoami: `{"id":134815,"firstname":"Ada"}`, name: "Ada",
	revocation: "https://www.strava.com/oauth/deauthorize", revokes: []string{"POST none form access_token=access-2"},
	dead: `400 {"message":"Bad Request","errors":[{"resource":"RefreshToken","field":"refresh_token","code":"invalid"}]}`,
}, {
	template: "stripe", auth: "https://connect.stripe.com/oauth/authorize", token: "https://connect.stripe.com/oauth/token", by: "post", scope: "read write",
	answer: `{"access_token":"access-1","refresh_token":"refresh-1","livemode":false,"token_type":"bearer","stripe_publishable_key":"pk","stripe_user_id":"acct_1"}`, life: -1, kept: "stripe_user_id=acct_1&livemode=false&stripe_publishable_key=pk",
	account: "https://api.stripe.com/v1/account", whoami: `{"id":"acct_1","email":"ada@example.com"}`, name: "ada@example.com",
	revocation: "https://connect.stripe.com/oauth/deauthorize", revokes: []string{"POST Bearer " + scriptedSecret + " form client_id=client-1&stripe_user_id=acct_1"},
}, {
	template: "tiktok", auth: "https://www.tiktok.com/v2/auth/authorize/", token: "https://open.tiktokapis.com/v2/oauth/token/", by: "post", clientID: "client_key", scope: "read,write", callback: "scopes=user.info.basic", kept: "open_id=o&scopes=user.info.basic",
	isApp:  true,
	answer: `{"access_token":"access-1","refresh_token":"refresh-1","expires_in":86400,"refresh_expires_in":31536000,"scope":"user.info.basic,video.list","token_type":"Bearer","open_id":"o"}`, life: day, granted: "user.info.basic video.list",
	account: "https://open.tiktokapis.com/v2/user/info/", whoami: `{"data":{"user":{"open_id":"o","display_name":"Ada"}}}`, name: "Ada",
	revocation: "https://open.tiktokapis.com/v2/oauth/revoke/", revokes: both("POST post form client_key=client-1&client_secret=" + scriptedSecret + "&"),
	dead: `200 {"error":"invalid_grant","error_description":"no","log_id":"1"}`,
}, {
	template: "todoist", auth: "https://app.todoist.com/oauth/authorize", token: "https://api.todoist.com/oauth/access_token", by: "post", scope: "read,write",
	account: "https://api.todoist.com/api/v1/user", whoami: `{"id":"1","full_name":"Ada"}`, name: "Ada",
	revocation: "https://api.todoist.com/api/v1/revoke", revokes: both("POST basic form "),
}, {
	template: "typeform", auth: "https://api.typeform.com/oauth/authorize", token: "https://api.typeform.com/oauth/token", by: "post", noPKCE: true, scope: "read write offline",
	account: "https://api.typeform.com/me", whoami: `{"user_id":"u","alias":"Ada"}`, name: "Ada",
}, {
	template: "webex", auth: "https://webexapis.com/v1/authorize", token: "https://webexapis.com/v1/access_token", by: "post", scope: "read write",
	answer: `{"access_token":"access-1","refresh_token":"refresh-1","expires_in":1209600,"refresh_token_expires_in":7776000,"token_type":"Bearer"}`, life: 14 * day,
	account: "https://webexapis.com/v1/people/me", whoami: `{"id":"p","displayName":"Ada"}`, name: "Ada",
}, {
	template: "webflow", auth: "https://webflow.com/oauth/authorize", token: "https://api.webflow.com/oauth/access_token", by: "post", scope: "read write",
	answer: `{"access_token":"access-1","token_type":"bearer","scope":"read write"}`, life: -1, noRenewal: true,
	revocation: "https://webflow.com/oauth/revoke_authorization", revokes: []string{"POST post JSON access_token=access-2&client_id=client-1&client_secret=" + scriptedSecret},
}, {
	template: "workday/impl.workday.com/wd3-impl-services1.workday.com/acme", auth: "https://impl.workday.com/acme/authorize", token: "https://wd3-impl-services1.workday.com/ccx/oauth2/acme/token", by: "basic", scope: "read write",
	answer: `{"access_token":"access-1","refresh_token":"refresh-1","token_type":"Bearer"}`, life: -1,
}, {
	template: "wrike", auth: "https://login.wrike.com/oauth2/authorize/v4", token: "https://login.wrike.com/oauth2/token", renewal: "https://app-eu.wrike.com/oauth2/token", by: "post", scope: "read,write",
	answer: `{"access_token":"access-1","refresh_token":"refresh-1","expires_in":3600,"token_type":"bearer","host":"app-eu.wrike.com"}`, kept: "host=app-eu.wrike.com",
}, {
	template: "zoho", auth: "https://accounts.zoho.com/oauth/v2/auth", token: "https://accounts.zoho.eu/oauth/v2/token", by: "post", scope: "read,write", ask: "access_type=offline&prompt=consent",
	isApp: true, appToken: "https://accounts.zoho.com/oauth/v2/token", configuration: `200 {"error":"invalid_client_secret"}`,
	callback: "location=eu&accounts-server=https://accounts.zoho.eu", kept: "location=eu&accounts-server=https://accounts.zoho.eu&api_domain=https://www.zohoapis.eu",
	answer:  `{"access_token":"access-1","refresh_token":"refresh-1","expires_in":3600000,"expires_in_sec":3600,"token_type":"Bearer","api_domain":"https://www.zohoapis.eu"}`,
	account: "https://accounts.zoho.eu/oauth/user/info", whoami: `{"ZUID":1,"Display_Name":"Ada"}`, name: "Ada",
	revocation: "https://accounts.zoho.eu/oauth/v2/token/revoke", revokes: []string{"POST none form " + revokeRefresh},
	dead: `200 {"error":"invalid_code"}`, unavailable: `200 {"error":"access_denied"}`,
}}
